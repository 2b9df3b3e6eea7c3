"""redis-commander in a real browser without a screen: its tree of keys, its pages of all types, keys that are added, edited and deleted by mouse and
keyboard, its command line. What the browser has seen done outlives the kill."""
import os
import subprocess
import tempfile
import redis
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException, WebDriverException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select
from program import PORT, free_port, holds, note, noted, run, same, until

COMMANDER = os.environ["NODE_PATH"] + "/redis-commander/bin/redis-commander.js"
COMMAND_LINE = "//*[@id='_readline_input']"


def key_in_tree(name):
    return "//*[@id='keyTree']//a[starts-with(normalize-space(.), '%s')]" % name


class Commander:
    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory()
        self.port = free_port()
        self.log = open(self.folder.name + "/log", "w+")
        self.server = subprocess.Popen(["node", COMMANDER, "--redis-host", "127.0.0.1", "--redis-port", str(PORT), "--address", "127.0.0.1",
                                        "--port", str(self.port), "--nosave", "--use-scan"], stdin=subprocess.DEVNULL, stdout=self.log,
                                       stderr=self.log, cwd=self.folder.name)
        self.redis = redis.Redis(port=PORT, decode_responses=True)
        options = webdriver.ChromeOptions()
        options.binary_location = "/usr/bin/chromium"
        # Without the sandbox, as root needs it; only our own page is shown.
        for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--window-size=1400,1000",
                         "--disable-background-networking", "--disable-component-update", "--user-data-dir=" + self.folder.name + "/profile"):
            options.add_argument(argument)
        self.browser = webdriver.Chrome(service=Service("/usr/bin/chromedriver"), options=options)
        self.browser.set_page_load_timeout(300)
        until("redis-commander answers", self.opens)
        self.see(key_in_tree("local"))
        return self

    def opens(self):
        if self.server.poll() is not None:
            raise AssertionError("redis-commander ended: " + self.said())
        try:
            self.browser.get("http://127.0.0.1:%d/" % self.port)
            return self.browser.find_elements(By.ID, "keyTree") != []
        except WebDriverException:
            return False

    def said(self):
        self.log.flush()
        with open(self.folder.name + "/log") as file:
            return file.read()[-3000:]

    def see(self, path, condition=lambda element: element.is_displayed(), seconds=300):
        """What there is at the path, once it is shown."""
        found = []

        def is_there():
            try:
                found[:] = [element for element in self.browser.find_elements(By.XPATH, path) if condition(element)]
            except StaleElementReferenceException:
                return False
            return found

        try:
            until("the page shows " + path, is_there, seconds)
        except AssertionError as error:
            raise AssertionError("%s; it shows: %s" % (error, self.browser.find_element(By.TAG_NAME, "body").text[:2000]))
        return found[0]

    def act(self, path, what):
        """The tree is drawn anew now and then, so what was found may be gone."""
        def done():
            try:
                what(self.see(path))
                return True
            except WebDriverException as error:
                if "alert" in str(error):
                    raise
                return False

        until("done at " + path, done)

    def click(self, path):
        self.act(path, lambda element: element.click())

    def click_on_page(self, name, path):
        """On the page of a key, or of the server. After it has saved, redis-commander draws the page anew that was selected then: if the answer
        to that comes late, it takes the place of the one that was asked for since. So it is asked for again."""
        def done():
            self.click(key_in_tree(name))
            try:
                self.see(path, seconds=10).click()
                return True
            except AssertionError:
                return False
            except WebDriverException as error:
                if "alert" in str(error):
                    raise
                return False

        until("%s is clicked on the page of %s" % (path, name), done, 600)

    def type(self, path, text):
        def put(element):
            element.clear()
            element.send_keys(text)

        self.act(path, put)

    def shows(self, text):
        self.see("//*[@id='body']", lambda body: text in body.text)

    def command(self, line, answer):
        """By the command line; until the answer is its last line."""
        self.act(COMMAND_LINE, lambda element: element.send_keys(line + Keys.ENTER))

        def answered():
            # Its spaces are those that do not break.
            lines = self.browser.find_element(By.ID, "commandLineOutput").get_property("textContent").replace("\xa0", " ")
            return lines.endswith(line + answer)

        until("%s answers %s" % (line, answer), answered)

    def add_string(self, name, value):
        """On the server's page."""
        self.click_on_page("local", "//button[contains(., 'Add New Key')]")
        self.type("//*[@id='keyValue']", name)
        self.act("//*[@id='keyType']", lambda element: Select(element).select_by_value("string"))
        self.type("//*[@id='newStringValue']", value)
        self.click("//*[@id='addKeyModal']//*[@id='saveKeyButton']")
        # It says by an alert, which ends us, that it could not be saved.
        until("the form closes", lambda: not self.browser.find_element(By.ID, "addKeyModal").is_displayed())

    def __exit__(self, *_):
        self.browser.quit()
        self.server.kill()
        self.server.wait()
        self.log.close()
        self.folder.cleanup()


def fill(client):
    client.set("text", "some words", ex=1000)
    client.rpush("list", "first", "second")
    client.sadd("set", "member")
    client.zadd("zset", {"scored": 1.5})
    client.hset("hash", mapping={"field": "of the hash"})
    client.xadd("stream", {"entry": "of the stream"})
    client.set("folder:inner", "inside")
    client.set("binary", bytes(range(256)))
    for n in range(300):
        client.set("many:%03d" % n, n)


def pages(page):
    page.click(key_in_tree("local"))
    page.shows("Redis version")
    for name, texts in (("text", ["String", "TTL: "]), ("list", ["first", "second", "2 Items"]), ("set", ["member"]), ("zset", ["scored", "1.5"]),
                        ("hash", ["field", "of the hash"]), ("stream", ["entry", "of the stream"]), ("binary", ["Binary"])):
        page.click(key_in_tree(name))
        for text in texts:
            page.shows(text) if name != "text" or text != "String" else page.see("//*[@id='stringValue']",
                                                                                lambda area: area.get_attribute("value") == "some words")
    page.see(key_in_tree("many:* (300)"))
    page.act(key_in_tree("folder:*") + "/../i", lambda element: element.click())
    page.click(key_in_tree("inner"))
    page.see("//*[@id='stringValue']", lambda area: area.get_attribute("value") == "inside")


def changes(page):
    page.click(key_in_tree("text"))
    page.see("//*[@id='stringValue']", lambda area: area.get_attribute("value") == "some words")
    page.type("//*[@id='stringValue']", "other words")
    page.click("//*[@id='editStringForm']//button[contains(., 'Save')]")
    until("it is saved", lambda: page.redis.get("text") == "other words")
    page.add_string("added", "by hand")
    same(page.redis.get("added"), "by hand", "added")
    page.click_on_page("hash", "//button[contains(., 'Add New Field')]")
    page.type("//*[@id='addHashFieldName']", "another")
    page.type("//*[@id='addHashFieldValue']", "one")
    page.click("//*[@id='saveHashFieldButton']")
    until("the field is there", lambda: page.redis.hgetall("hash") == {"field": "of the hash", "another": "one"})
    until("the form closes", lambda: not page.browser.find_element(By.ID, "addHashFieldModal").is_displayed())
    page.click_on_page("set", "//button[contains(., 'Delete Key') and contains(@onclick, \"'set'\")]")
    until("it asks", lambda: "set" in page.browser.switch_to.alert.text)
    page.browser.switch_to.alert.accept()
    until("it is gone", lambda: not page.redis.exists("set"))


def command_line(page):
    page.command("SET typed 41", '"OK"')
    page.command("INCR typed", "42")
    page.command("GET typed", '"42"')
    page.command("LRANGE list 0 -1", '1) "first"2) "second"')
    page.command("INCR list", '"WRONGTYPE Operation against a key holding the wrong kind of value"')
    page.command("EVAL \"return redis.call('GET', KEYS[1])\" 1 typed", '"42"')


def tour():
    fill(redis.Redis(port=PORT))
    with Commander() as page:
        for part in pages, changes, command_line:
            part(page)


def load():
    with Commander() as page:
        n = 0
        while True:
            n += 1
            page.command("RPUSH load %d" % n, str(n))
            note("pushed %d" % n)
            if n % 10 == 0:
                page.add_string("key%d" % n, "value %d" % n)
                note("added %d" % n)


def settle():
    with Commander() as page:
        pushed, added = noted("pushed"), noted("added")
        kept = page.redis.lrange("load", 0, -1)
        same(kept[:len(pushed)], pushed, "what was pushed")
        holds(len(kept) <= len(pushed) + 1, "more than was pushed: %s after %s" % (kept[-1], pushed[-1]))
        page.click(key_in_tree("load"))
        page.shows("%d Items" % len(kept))
        for n in added:
            page.click(key_in_tree("key" + n))
            page.see("//*[@id='stringValue']", lambda area: area.get_attribute("value") == "value " + n)


run(tour=tour, load=load, settle=settle)
