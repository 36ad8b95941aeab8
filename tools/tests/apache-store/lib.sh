# Sourced by make: an Apache name server and broker on loopback, ended by process id.

work=${WORK:?}
pids=()
opens=()
for package in java.nio sun.nio.ch java.lang java.util jdk.internal.misc; do opens+=("--add-opens=java.base/$package=ALL-UNNAMED"); done

# install VERSION: jars of that generation into $lib, classes of StoreClient into $classes.
install() {
  lib=${APACHE_LIB:-$work/lib-$1} classes=$work/classes-$1
  mkdir -p "$classes"
  if ! ls "$lib"/rocketmq-broker-"$1".jar >/dev/null 2>&1; then
    mvn -B -q -f "$here/pom.xml" -Drmq.version="$1" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$lib"
  fi
  jvm
  javac -nowarn -proc:none -Xlint:-deprecation --release 17 -cp "$lib/*" -d "$classes" "$here/StoreClient.java"
}

# jvm: fills $java with the command that runs a class; the process is the JVM itself, so that its id can be ended.
jvm() {
  java=(java "${opens[@]}" -Xms128m -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 "-Duser.home=$work/home"
    "-Drocketmq.client.logRoot=$work/home/logs" -Drocketmq.client.logUseSlf4j=true -cp "$classes:$lib/*")
}

wait_port() { # port pid log
  for _ in $(seq 1 600); do
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return 0
    kill -0 "$2" 2>/dev/null || { tail -5 "$3" >&2; return 1; }
    sleep 0.1
  done
  echo "port $1 did not open" >&2
  return 1
}

# start_apache STORE: sets namesrv_addr.
start_apache() {
  local port=${PORT:-23876}
  export ROCKETMQ_HOME=$work/home
  mkdir -p "$work/home/conf" "$1"
  # 4.x does not start without them
  for name in namesrv broker tools; do echo '<configuration/>' >"$work/home/conf/logback_$name.xml"; done
  printf '%s\n' "listenPort=$port" bindAddress=127.0.0.1 "kvConfigPath=$work/home/kv.json" >"$work/namesrv.conf"
  # small files, so that the store has several; delays of 1 s so that making it takes seconds
  printf '%s\n' "namesrvAddr=127.0.0.1:$port" "listenPort=$((port + 3))" "haListenPort=$((port + 4))" bindAddress=127.0.0.1 \
    brokerIP1=127.0.0.1 brokerIP2=127.0.0.1 brokerClusterName=DefaultCluster brokerName=broker-a brokerId=0 \
    "storePathRootDir=$1" "storePathCommitLog=$1/commitlog" mapedFileSizeCommitLog=32768 mappedFileSizeCommitLog=32768 \
    maxMessageSize=16384 maxHashSlotNum=100 maxIndexNum=400 mappedFileSizeConsumeQueue=20000 mapedFileSizeConsumeQueue=20000 \
    mappedFileSizeTimerLog=65536 timerWheelEnable=false transactionCheckInterval=3600000 deleteWhen=04 fileReservedTime=500 \
    warmMapedFileEnable=false >"$work/broker.conf"
  "${java[@]}" org.apache.rocketmq.namesrv.NamesrvStartup -c "$work/namesrv.conf" >"$work/namesrv.log" 2>&1 &
  pids+=($!)
  wait_port "$port" $! "$work/namesrv.log"
  "${java[@]}" org.apache.rocketmq.broker.BrokerStartup -c "$work/broker.conf" >"$work/broker.log" 2>&1 &
  pids+=($!)
  wait_port $((port + 3)) $! "$work/broker.log"
  namesrv_addr=127.0.0.1:$port
  for _ in $(seq 1 100); do
    "${java[@]}" org.apache.rocketmq.tools.command.MQAdminStartup topicList -n "$namesrv_addr" 2>/dev/null | grep -q SELF_TEST_TOPIC && return 0
    sleep 0.2
  done
  echo "the broker does not register" >&2
  return 1
}

stop_all() {
  local i
  for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
    kill "${pids[i]}" 2>/dev/null || true
    wait "${pids[i]}" 2>/dev/null || true
  done
  pids=()
}
trap stop_all EXIT

client() { "${java[@]}" StoreClient "$namesrv_addr" "$@"; }
admin() { "${java[@]}" org.apache.rocketmq.tools.command.MQAdminStartup "$@" -n "$namesrv_addr"; }

# fill: everything that a store of a real broker may hold; see README.md.
fill() {
  for topic in orders delayed tx retrying gone reborn; do admin updateTopic -c DefaultCluster -t $topic -r 4 -w 4 >/dev/null 2>&1; done
  client deleted gone 12 1
  client deleted reborn 30 1
  sleep 1
  for topic in gone reborn; do admin deleteTopic -c DefaultCluster -t $topic >/dev/null 2>&1; done
  sleep 1
  client produce
  admin updateTopic -c DefaultCluster -t reborn -r 4 -w 4 >/dev/null 2>&1
  sleep 1
  client deleted reborn 9 2
  client consume half orders 120 >"$work/half.tsv"
  sleep 6 # consumer offsets reach the disk every 5 s
}
