D=/tmp/cryptb.$$; mkdir -p $D/a $D/b; openssl rand -hex 32 > $D/key
S=${1:-/work/h/crypt/build-test/src/sett-server}
$S --port 7921 --dir $D/a --maxmemory 256mb --logfile $D/la & A=$!
$S --port 7922 --dir $D/b --maxmemory 256mb --logfile $D/lb --encryption-key-file $D/key & B=$!
sleep 2
cpu() { cat /proc/$1/task/*/schedstat | awk '{s+=$1} END{printf "%.0f", s/1000}'; }
one() { c0=$(cpu $2); redis-benchmark -p $1 -P 16 -c 20 -d 1024 -n $4 -r 20000 -t $3 -q >/dev/null 2>&1; c1=$(cpu $2); echo "$3 $1 $(( (c1-c0)*1000/$4 ))"; }
for i in $(seq 12); do
 one 7921 $A set 40000; one 7922 $B set 40000
 one 7921 $A get 40000; one 7922 $B get 40000
done | awk '{k=$1" "$2; if(!(k in m)||$3<m[k])m[k]=$3; s[k]+=$3;n[k]++} END{for(k in m) print k,"ns/op min",m[k],"mean",s[k]/n[k]}'
kill $A $B; wait; rm -rf $D
