D=/tmp/cryptb.$$; mkdir -p $D/a $D/b; openssl rand -hex 32 > $D/key
S=/work/h/crypt/build-test/src/sett-server
$S --port 7921 --dir $D/a --maxmemory 256mb --logfile $D/la & A=$!
$S --port 7922 --dir $D/b --maxmemory 256mb --logfile $D/lb --encryption-key-file $D/key & B=$!
sleep 2
cpu() { awk '{print $14+$15}' /proc/$1/stat; }
one() { # port pid test
  c0=$(cpu $2); r=$(redis-benchmark -p $1 -P 16 -c 20 -d 1024 -n $4 -r 100000 -t $3 -q 2>/dev/null | tr '\r' '\n' | grep "requests per second" | tail -1 | awk '{print $2}'); c1=$(cpu $2); echo "$3 port $1: $r/s, cpu $((c1-c0)) ticks"; }
for i in 1 2 3 4; do
 one 7921 $A set 150000; one 7922 $B set 150000
 one 7921 $A get 150000; one 7922 $B get 150000
done
kill $A $B; wait; rm -rf $D
