<?php
// A pipeline as phpredis runs it: all requests are written before the first reply is read.
//
//     pipelines.php SOCKET

const COUNT = 300000;

function fail(string $text): void
{
    print("FAILED: phpredis: $text\n");
    exit(1);
}

$client = new Redis();
if (!$client->connect($argv[1])) {
    fail("no connection");
}
$client->setOption(Redis::OPT_READ_TIMEOUT, 60);
$client->flushAll();
$value = str_repeat("v", 100);
for ($i = 0; $i < 1000; $i++) {
    $client->set("key:$i", $value);
}
$pipeline = $client->pipeline();
for ($i = 0; $i < COUNT; $i++) {
    $pipeline->get("key:" . ($i % 1001));
}
$replies = $pipeline->exec();
if (!is_array($replies) || count($replies) != COUNT) {
    fail("the pipeline is not answered as a whole");
}
foreach ($replies as $i => $reply) {
    if ($reply !== ($i % 1001 == 1000 ? false : $value)) {
        fail("reply $i is " . var_export($reply, true));
    }
}
$client->close();
