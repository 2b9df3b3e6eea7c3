"""django-redis: the cache with deadlines, locks and patterns, and Django's sessions in it."""
import time
import django
from django.conf import settings
from program import PORT, URL, holds, note, noted, run, same

settings.configure(
    CACHES={"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": URL[:-1] + "1",
                        "OPTIONS": {"CLIENT_CLASS": "django_redis.client.DefaultClient"}}},
    SESSION_ENGINE="django.contrib.sessions.backends.cache", SESSION_CACHE_ALIAS="default",
    INSTALLED_APPS=["django.contrib.sessions"], SECRET_KEY="x" * 50, USE_TZ=True)
django.setup()

from django.contrib.sessions.backends.cache import SessionStore  # noqa: E402 (the settings come first)
from django.core.cache import cache  # noqa: E402


def caching():
    cache.set("a", {"numbers": [1, 2.5], "text": "\u00e4"}, 100)
    same(cache.get("a"), {"numbers": [1, 2.5], "text": "\u00e4"}, "an object")
    holds(90 < cache.ttl("a") <= 100, "its deadline")
    same((cache.add("a", 1), cache.add("b", 1)), (False, True), "ADD")
    same(cache.get_or_set("c", lambda: 7, 10), 7, "get_or_set")
    same((cache.incr("b", 4), cache.decr("b")), (5, 4), "counting")
    cache.set_many({"m%d" % i: i for i in range(100)}, None)
    same(cache.get_many(["m%d" % i for i in range(0, 100, 10)]), {"m%d" % i: i for i in range(0, 100, 10)}, "many")
    same(cache.ttl("m1"), None, "without a deadline")
    same(cache.touch("a", 5), True, "TOUCH")
    same(len(list(cache.iter_keys("m*"))), 100, "SCAN by a pattern")
    same(cache.delete_pattern("m*"), 100, "deleted by a pattern")
    cache.set("short", 1, timeout=1)
    time.sleep(1.2)
    same(cache.get("short", "none"), "none", "a deadline passes")
    cache.set("version", "old", version=1)
    cache.incr_version("version")
    same((cache.get("version", version=1), cache.get("version", version=2)), (None, "old"), "a version")


def locks():
    with cache.lock("lock", timeout=30):
        other = cache.lock("lock", timeout=30, blocking_timeout=0.1)
        same(other.acquire(), False, "it is held")
    same(other.acquire(), True, "it is free")
    other.release()


def sessions():
    store = SessionStore()
    store["user"] = 17
    store.set_expiry(100)
    store.save()
    same(SessionStore(store.session_key)["user"], 17, "a session")
    old = store.session_key
    store.cycle_key()
    same((SessionStore(old).load(), SessionStore(store.session_key)["user"]), ({}, 17), "under a new key")
    store.flush()
    same(SessionStore(store.session_key or "none").load(), {}, "logged out")


def tour():
    caching()
    locks()
    sessions()
    cache.clear()
    same(cache.get("a"), None, "cleared")


def load():
    n = 0
    while True:
        store = SessionStore()
        store["user"] = n
        store.save()
        note("session %s %d" % (store.session_key, n))
        note("counted %d" % (cache.incr("visits") if cache.get("visits") else cache.add("visits", 1) and 1))
        n += 1


def settle():
    for line in noted("session"):
        key, number = line.split()
        same(SessionStore(key).load(), {"user": int(number)}, "session " + key)
    last = max(map(int, noted("counted")))
    holds(last <= cache.get("visits") <= last + 1, "the counter")


run(tour=tour, load=load, settle=settle)
