#!/usr/bin/env python3
"""Values in scripts, beside redis-server: random nested values go through cjson, cmsgpack, struct, bit and redis.call, and
back, as do damaged inputs of their decoders. Both servers run the same scripts and must say the same, errors included.

    script_values.py SERVER REDIS_SERVER [SCRIPTS [SEED]]

Left out: keys of tables of 32 bytes and more, since the order of pairs() differs there (Redis' Lua has another hash); settings of
cjson that last from one script to the next (in Sett each begins with the defaults);
the sign of NaN in a reply.
"""
import os
import random
import subprocess
import sys
import tempfile
import redis
from own_server import Server, fail, wait_until

# Results as text, the same whatever the order of a table's keys.
PRELUDE = r"""
local function quoted(s)
  return '"' .. s:gsub('[^%w%p ]', function(c) return string.format('\\x%02x', c:byte()) end) .. '"'
end
local function text(v, depth)
  local t = type(v)
  if t == 'number' then return v ~= v and 'nan' or string.format('%.17g', v) end
  if t == 'string' then return quoted(v) end
  if t == 'userdata' then return v == cjson.null and 'null' or t end
  if t ~= 'table' then return tostring(v) end
  if depth > 40 then return '...' end
  local fields = {}
  for k, x in pairs(v) do fields[#fields + 1] = text(k, depth + 1) .. '=' .. text(x, depth + 1) end
  table.sort(fields)
  return '{' .. table.concat(fields, ',') .. '}'
end
local function all(...)
  local texts = {}
  for i = 1, select('#', ...) do texts[i] = text((select(i, ...)), 0) end
  return table.concat(texts, ' | ')
end
"""
# Redis keeps these from one script to the next.
DEFAULTS = """ cjson.encode_invalid_numbers(false) cjson.decode_invalid_numbers(true)
cjson.encode_sparse_array(false, 2, 10) cjson.encode_number_precision(14)
cjson.encode_max_depth(1000) cjson.decode_max_depth(1000) """


def literal(data):
    return '"' + "".join("\\%03d" % byte for byte in data) + '"'


class Maker:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.pick, self.below = self.random.choice, self.random.randrange

    def some(self, make, most):
        return ",".join(make() for _ in range(self.below(most + 1)))

    def data(self, size):
        return bytes(self.pick((self.below(256), self.below(32) + 64, 0)) for _ in range(size))

    def number(self):
        return self.pick((
            lambda: str(self.below(240) - 40),
            lambda: str(self.below(2**17 + 10) - 2**16),
            lambda: str(self.below(2**34) - 2**33),
            lambda: str(self.pick((2**53, 2**63, -2**63, 2**64, 2**62, 2**31, -2**31, 2**32 - 1, 2**31 - 1))),
            lambda: repr(self.random.random()),
            lambda: repr(self.random.uniform(-1e20, 1e20)),
            lambda: repr(self.pick((0.5, -0.25, 1e300, 1e-300, 3.4e38, 3.5e38, 1e15, 1e14, 99999999999999))),
            lambda: self.pick(("0/0", "1/0", "-1/0", "-0")),
        ))()

    def string(self):
        return literal(self.data(self.pick((0, 1, 2, 3, 5, 8, 31, 32, 33, 255, 256, 300))))

    def key(self):
        return self.pick((lambda: literal(self.data(self.below(31))), lambda: str(1 + self.below(30)),
                          lambda: str(self.below(2**33)), lambda: "0.5"))()

    def value(self, depth=0):
        if depth > 4:
            return self.number()
        deeper = lambda: self.value(depth + 1)
        return self.pick((
            self.number, self.string, self.number, self.string,
            lambda: self.pick(("true", "false", "cjson.null")),
            lambda: "{" + self.some(deeper, 5) + "}",
            lambda: "{" + ",".join(deeper() for _ in range(17)) + "}" if depth == 0 else "{}",
            lambda: "{" + self.some(lambda: "[%s]=%s" % (self.key(), deeper()), 3) + "}",
            lambda: "{[%d]=1,[%d]=%s}" % (1 + self.below(12), 1 + self.below(12), deeper()),
        ))()

    # ---- texts for decoders, mostly right ----

    def json(self, depth=0):
        space = lambda: self.pick(("", "", " ", "\n", "\t\r"))
        kind = self.below(12) if depth < 6 else 0
        if kind < 2:
            return self.pick("1 -1 0 1.5 1e5 -0.0 01 0x1f +5 nan NaN -nan inf Infinity -inf 1e999 .5 - 1. 1e nul tru true "
                             "false null 12345678901234567890".split())
        if kind < 5:
            pieces = ("a", "x", "\\n", "\\u00e9", "\\u20ac", "\\ud83d\\ude00", "\\ud83d", "\\udc00", "\\u12", "\\x", "\\\\",
                      "\\/", "\u00e9", "\x01", "\x7f", " ", "\\u0000", '\\"')
            return '"' + "".join(self.pick(pieces) for _ in range(self.below(5))) + self.pick(['"'] * 19 + [""])
        if kind < 8:
            return "[" + space() + self.some(lambda: self.json(depth + 1) + space(), 3) + self.pick(["]"] * 12 + [",]", "", "}"])
        pair = lambda: '"k%d"' % self.below(3) + space() + self.pick([":"] * 12 + ["", ","]) + space() + self.json(depth + 1)
        return "{" + space() + self.some(pair, 3) + self.pick(["}"] * 12 + [",}", "", "]"])

    def msgpack(self):
        piece = lambda: self.pick((
            lambda: bytes([self.below(256)]),
            lambda: bytes([0xc0 + self.below(32)]) + bytes(self.pick((0, 0, 0, 1, 2, 255)) for _ in range(self.below(10))),
            lambda: bytes([0x90 + self.below(4)]) + bytes(self.below(128) for _ in range(3)),
            lambda: bytes([0x80 + self.below(4)]) + self.data(6),
            lambda: bytes([0xa0 + self.below(6)]) + b"abcd",
            lambda: b"\xc0",
        ))()
        return literal(b"".join(piece() for _ in range(1 + self.below(4))))

    def format(self):
        piece = lambda: self.pick((
            lambda: self.pick("<>"), lambda: "!" + self.pick(("", "1", "2", "4", "8", "16", "3", "0")),
            lambda: "c" + self.pick(("", "0", "1", "2", "5")), lambda: self.pick("iI") + str(self.below(35)),
            lambda: self.pick(("z", "7", "?", "c99999999999", "n")),
            *[lambda: self.pick("bBhHlLTiIfdxs ")] * 7))()
        return literal("".join(piece() for _ in range(1 + self.below(5))).encode())

    # ---- scripts ----

    def pack(self):
        return "return cmsgpack.pack(%s)" % self.some(self.value, 3)

    def pack_and_unpack(self):
        return "return cmsgpack.unpack(cmsgpack.pack(%s))" % self.value()

    def unpack(self):
        return self.pick((
            lambda: "return cmsgpack.unpack(%s)" % self.msgpack(),
            lambda: "return cmsgpack.unpack_one(%s%s)" % (self.msgpack(), self.pick(("", ",0", ",1", ",-1", ",100", ",'x'"))),
            lambda: "return cmsgpack.unpack_limit(%s,%s)" % (self.msgpack(), self.pick("0 1 2 3,1 -1 2,0 0,2 1,99 'a'".split())),
        ))()

    def encode(self):
        setting = self.pick(("", "", "cjson.encode_invalid_numbers('null')", "cjson.encode_invalid_numbers(true)",
                             "cjson.encode_sparse_array(true)", "cjson.encode_sparse_array(true,1,1)",
                             "cjson.encode_number_precision(%d)" % (1 + self.below(14)), "cjson.encode_max_depth(2)"))
        return "%s return cjson.encode(%s)" % (setting, self.value())

    def decode(self):
        setting = self.pick(("", "", "cjson.decode_invalid_numbers(false)", "cjson.decode_max_depth(2)"))
        return "%s return cjson.decode(%s)" % (setting, literal(self.json().encode()))

    def struct_pack(self):
        return "return struct.pack(%s,%s)" % (
            self.format(), ",".join(self.pick((self.number, self.number, self.string))() for _ in range(6)))

    def struct_unpack(self):
        return "return struct.unpack(%s,%s%s)" % (
            self.format(), literal(self.data(self.below(40))), self.pick(("", "", ",1", ",3", ",0", ",-1", ",99")))

    def struct_size(self):
        return "return struct.size(%s)" % self.format()

    def bits(self):
        name = self.pick("tobit bnot band bor bxor lshift rshift arshift rol ror bswap tohex".split())
        return "return bit.%s(%s)" % (name, self.some(lambda: self.pick((self.number(), self.number(), "'12'", "nil", "{}")), 3))

    def call(self):
        protocol = "redis.setresp(%d) " % self.pick((2, 3))
        return protocol + self.pick((
            lambda: "redis.call('set','s',%s) return redis.call('get','s')" % self.pick((self.number(), self.string())),
            lambda: "return redis.pcall('set','s',%s)" % self.value(),
            lambda: "redis.call('del','h') redis.call('hset','h','f',%s) return redis.call('hgetall','h')" % self.string(),
            lambda: "redis.call('del','z') redis.call('zadd','z',%s,'m') return redis.call('zrange','z',0,-1,'withscores')"
                    % self.pick(("1", "0.1", "'inf'", "1e20", "-7.5")),
            lambda: "return redis.call('mget','s','none')",
            lambda: "return redis.pcall(%s)" % self.value(),
            lambda: "return redis.error_reply(%s)" % self.value(),
            lambda: "return redis.status_reply(%s)" % self.value(),
            lambda: "return redis.sha1hex(%s)" % self.string(),
        ))()

    def reply(self):
        """The value becomes the reply itself."""
        return "redis.setresp(%d) return %s" % (self.pick((2, 3)), self.pick((
            self.value, self.value, lambda: "{map={a=%s}}" % self.value(), lambda: "{set={a=true}}",
            lambda: "{double=%s}" % self.number().replace("0/0", "1"), lambda: "{err=%s}" % literal(self.data(5)),
            lambda: "{ok=%s}" % literal(self.data(5))))())

    def script(self):
        if self.below(8) == 0:
            return self.reply()
        body = self.pick((self.pack, self.pack_and_unpack, self.unpack, self.encode, self.decode, self.struct_pack,
                          self.struct_unpack, self.struct_size, self.bits, self.call))()
        return PRELUDE + "local r = all(pcall(function() " + body + " end))" + DEFAULTS + "return r"


class Reference(Server):
    def start(self):
        self.options += ["--save", ""]
        super().start()


def answer(client, script):
    try:
        return repr(client.execute_command("EVAL", script, 0))
    except redis.ResponseError as error:
        return "error: %s" % error


def main():
    servers = [Server(sys.argv[1]), Reference(sys.argv[2])]
    scripts = int(sys.argv[3]) if len(sys.argv) > 3 else 4000
    seed = int(sys.argv[4]) if len(sys.argv) > 4 else 1
    maker, differences = Maker(seed), 0
    try:
        for server in servers:
            server.start()
        clients = [server.connect() for server in servers]
        for i in range(scripts):
            script = maker.script().encode("latin1")
            said = [answer(client, script) for client in clients]
            if said[0] != said[1]:
                differences += 1
                print("script %d:\n%s\n  sett:  %s\n  redis: %s" % (
                    i, script.decode("latin1").replace(PRELUDE, "").replace(DEFAULTS, "")[:400], said[0][:400], said[1][:400]))
            if i % 500 == 0:
                for client in clients:
                    client.execute_command("SCRIPT", "FLUSH")
    finally:
        for server in servers:
            server.clean_up()
    if differences > 0:
        fail("%d of %d scripts differ (seed %d)" % (differences, scripts, seed))
    print("%d scripts, no difference" % scripts)


main()
