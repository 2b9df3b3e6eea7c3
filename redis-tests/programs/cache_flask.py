"""Flask-Caching: cached views and functions, deleted by name and by arguments."""
import flask
from flask_caching import Cache
from program import PORT, holds, note, noted, run, same

app = flask.Flask("app")
cache = Cache(app, config={"CACHE_TYPE": "RedisCache", "CACHE_REDIS_HOST": "127.0.0.1", "CACHE_REDIS_PORT": PORT,
                           "CACHE_DEFAULT_TIMEOUT": 300, "CACHE_KEY_PREFIX": "app:"})
calls = []


@app.route("/page/<name>")
@cache.cached(query_string=True)
def page(name):
    calls.append(name)
    return "page %s, call %d" % (name, len(calls))


@cache.memoize(60)
def square(number):
    calls.append(number)
    return number * number


def tour():
    client = app.test_client()
    first = client.get("/page/a?x=1&y=2").data
    same((client.get("/page/a?y=2&x=1").data, len(calls)), (first, 1), "a view that is cached")
    holds(client.get("/page/a?x=2").data != first, "another query")
    with app.app_context():
        same([square(4), square(4), square(5)], [16, 16, 25], "a function")
        same(calls[2:], [4, 5], "it ran twice")
        cache.delete_memoized(square, 4)
        same((square(4), square(5), calls[2:]), (16, 25, [4, 5, 4]), "one is forgotten")
        cache.delete_memoized(square)
        same((square(5), calls[2:]), (25, [4, 5, 4, 5]), "all are")
        cache.set_many({"m1": 1, "m2": [2]}, timeout=50)
        same(cache.get_many("m1", "m2", "absent"), [1, [2], None], "many")
        same((cache.add("m1", 2), cache.has("m1"), cache.get_dict("m1")), (False, True, {"m1": 1}), "ADD")
        cache.clear()
        same(cache.get("m1"), None, "cleared")


def load():
    with app.app_context():
        for n in range(10 ** 9):
            cache.set("n%d" % n, {"n": n}, timeout=1000)
            note("set %d" % n)


def settle():
    with app.app_context():
        for n in noted("set"):
            same(cache.get("n" + n), {"n": int(n)}, "entry " + n)


run(tour=tour, load=load, settle=settle)
