# Rails' cache store (ActiveSupport's RedisCacheStore): deadlines, counters, races, many at once, deletion by a pattern.
require "active_support"
require "active_support/cache"
require "active_support/cache/redis_cache_store"
require "active_support/core_ext/numeric/time"

PHASE, PORT, JOURNAL = ARGV
$stdout.sync = true

def same(actual, wanted, what)
  return if actual == wanted
  puts "FAILED: #{what}: #{actual.inspect}, not #{wanted.inspect}"
  exit! 1
end

def open(namespace)
  ActiveSupport::Cache::RedisCacheStore.new(url: "redis://127.0.0.1:#{PORT}/0", namespace: namespace)
end

def note(line)
  File.write(JOURNAL, line + "\n", mode: "a")
end

def tour
  cache = open("tour")
  same cache.write("a", { "list" => [1, 2.5, nil] }, expires_in: 100.seconds) && true, true, "written"
  same cache.read("a"), { "list" => [1, 2.5, nil] }, "read"
  made = 0
  2.times { same cache.fetch("b", expires_in: 50) { made += 1 }, 1, "made once" }
  same cache.fetch("b", force: true) { made += 1 }, 2, "made again"
  same cache.write("a", 1, unless_exist: true), false, "unless it is there"
  cache.write("count", 5, raw: true)
  same [cache.increment("count", 3), cache.decrement("count"), cache.read("count", raw: true)], [8, 7, "7"], "counting"
  same cache.increment("fresh", 1, expires_in: 60), 1, "counting from nothing"
  same cache.redis.ttl("tour:fresh").between?(50, 60), true, "with a deadline"
  cache.write_multi((1..50).to_h { |n| ["n#{n}", n] }, expires_in: 100)
  same cache.read_multi("n1", "n50", "absent"), { "n1" => 1, "n50" => 50 }, "many"
  same cache.fetch_multi("n1", "new") { |key| key * 2 }, { "n1" => 1, "new" => "newnew" }, "many, made where absent"
  same cache.delete_multi(%w[n1 n2 absent]), 2, "deleted"
  cache.delete_matched("n*")
  same [cache.exist?("n3"), cache.exist?("a")], [false, true], "deleted by a pattern"
  cache.write("short", 1, expires_in: 0.3)
  sleep 0.5
  same cache.read("short"), nil, "a deadline passes"
  cache.write("large", "x" * 200_000)
  same cache.read("large"), "x" * 200_000, "a value that is compressed"
  cache.clear
  same cache.exist?("a"), false, "cleared"
end

def load_until_killed
  cache = open("load")
  (0..).each do |n|
    # An error of the connection is no exception, but nothing.
    note "written #{n}" if cache.write("n#{n}", { "n" => n })
    count = cache.increment("count")
    note "counted #{count}" if count
  end
end

def settle
  cache = open("load")
  lines = File.readlines(JOURNAL, chomp: true).map(&:split)
  lines.each { |what, n| same cache.read("n#{n}"), { "n" => n.to_i }, "entry #{n}" if what == "written" }
  last = lines.filter_map { |what, n| n.to_i if what == "counted" }.max
  same cache.read("count", raw: true).to_i.between?(last, last + 1), true, "the counter, at least #{last}"
end

begin
  { "tour" => method(:tour), "load" => method(:load_until_killed), "settle" => method(:settle) }.fetch(PHASE).call
rescue StandardError => e
  puts "FAILED: #{e.full_message(highlight: false)}"
  exit! 1
end
