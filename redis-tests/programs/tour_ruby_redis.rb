# redis-rb: every type, pipelines, MULTI and WATCH, publish and subscribe, blocking, streams, scripts, scans, client-side caching.
require "redis"

PHASE, PORT = ARGV
$stdout.sync = true

def same(actual, wanted, what)
  return if actual == wanted
  puts "FAILED: #{what}: #{actual.inspect}, not #{wanted.inspect}"
  exit! 1
end

def open
  Redis.new(port: PORT.to_i, timeout: 60)
end

def types(r)
  same r.set("s", "v", ex: 100, nx: true), true, "SET"
  same r.mget("s", "absent"), ["v", nil], "MGET"
  same r.incrbyfloat("f", 1.5), 1.5, "INCRBYFLOAT"
  same r.setbit("bits", 7, 1), 0, "SETBIT"
  same r.hset("h", { "a" => "1", "b" => "2" }), 2, "HSET"
  same r.hgetall("h"), { "a" => "1", "b" => "2" }, "HGETALL"
  same r.rpush("l", %w[1 2 3]), 3, "RPUSH"
  same r.lmove("l", "m", "LEFT", "RIGHT"), "1", "LMOVE"
  same r.lrange("l", 0, -1), %w[2 3], "LRANGE"
  same r.sadd("set", %w[x y]), 2, "SADD"
  same r.smembers("set").sort, %w[x y], "SMEMBERS"
  same r.zadd("z", [[1, "one"], [2.5, "two"]]), 2, "ZADD"
  same r.zrange("z", 0, -1, with_scores: true), [["one", 1.0], ["two", 2.5]], "ZRANGE"
  same r.pfadd("hll", %w[a b]), true, "PFADD"
  same r.pfcount("hll"), 2, "PFCOUNT"
  same r.geoadd("geo", 13.361389, 38.115556, "Palermo"), 1, "GEOADD"
  same r.geodist("geo", "Palermo", "Palermo"), "0.0000", "GEODIST"
  same r.restore("copy", 0, r.dump("h")), "OK", "RESTORE"
  same r.hget("copy", "b"), "2", "what was restored"
end

def together(r)
  same(r.pipelined { |p| p.set("p", 1); p.incr("p"); p.get("p") }, ["OK", 2, "2"], "a pipeline")
  same(r.multi { |m| m.incr("p"); m.incr("p") }, [3, 4], "MULTI")
  lost = r.watch("p") { open.set("p", "changed"); r.multi { |m| m.get("p") } }
  same lost, nil, "a watched key has changed"
  sha = r.script(:load, "return redis.call('INCRBY', KEYS[1], ARGV[1])")
  same r.evalsha(sha, ["counter"], [5]), 5, "EVALSHA"
  500.times { |i| r.set("scan:#{i}", i) }
  same r.scan_each(match: "scan:*", count: 50).to_a.uniq.size, 500, "SCAN"
end

def listening(r)
  heard = []
  ear = Thread.new do
    own = open
    own.subscribe("one", "two") do |on|
      on.message do |channel, text|
        heard << [channel, text]
        own.unsubscribe
      end
    end
  end
  sleep 0.01 while r.publish("one", "hello") == 0
  ear.join(60)
  same heard, [%w[one hello]], "SUBSCRIBE"
end

def waiting(r)
  popped = Thread.new { open.blpop("queue:a", "queue:b", timeout: 30) }
  sleep 0.01 until r.info["blocked_clients"] == "1"
  r.rpush("queue:b", "job")
  same popped.value, %w[queue:b job], "BLPOP"
  same r.bzpopmin("none", timeout: 0.05), nil, "its time ends"
end

def streams(r)
  id = r.xadd("stream", { "a" => "1" })
  same r.xgroup(:create, "stream", "group", "0"), "OK", "XGROUP"
  same r.xreadgroup("group", "me", "stream", ">"), { "stream" => [[id, { "a" => "1" }]] }, "XREADGROUP"
  same r.xpending("stream", "group")["size"], 1, "XPENDING"
  same r.xautoclaim("stream", "group", "you", 0, "0-0")["entries"], [[id, { "a" => "1" }]], "XAUTOCLAIM"
  same r.xack("stream", "group", id), 1, "XACK"
  waiting = Thread.new { open.xread("stream", "$", block: 30_000) }
  sleep 0.01 until r.info["blocked_clients"] == "1"
  second = r.xadd("stream", { "b" => "2" })
  same waiting.value, { "stream" => [[second, { "b" => "2" }]] }, "XREAD"
end

def caching(r)
  told = Queue.new
  ear = open
  id = ear.call("CLIENT", "ID")
  Thread.new { ear.subscribe("__redis__:invalidate") { |on| on.subscribe { told << :ready }; on.message { |_, keys| told << keys } } }
  same told.pop, :ready, "it is subscribed"
  same r.call("CLIENT", "TRACKING", "ON", "REDIRECT", id), "OK", "TRACKING"
  r.set("cached", 1)
  same r.get("cached"), "1", "it is read"
  r.set("cached", 2)
  same told.pop, ["cached"], "it is told of"
end

same PHASE, "tour", "the phase"
r = open
%i[types together listening waiting streams caching].each { |part| send(part, r) }
exit! 0
