# Sourced by tests/run: starts RingMQ on loopback with unused ports and a data folder of its own, and ends by process
# id what it started.

server_pids=()

# Tail caches lie in memory and outlive a killed broker: those of the tests get a folder of their own there, which remove_tail_caches takes
# away at the end. Without a memory file system it is empty: no tail cache that outlives anything.
tail_cache_dir=

make_tail_cache_dir() {
  if [[ -z $tail_cache_dir && -d /dev/shm && -w /dev/shm ]]; then
    tail_cache_dir=$(mktemp -d /dev/shm/ringmq-tests-servers.XXXXXX)
  fi
}

remove_tail_caches() {
  [[ -z $tail_cache_dir ]] || rm -rf "$tail_cache_dir"
}

# port_used PORT: somebody accepts connections there.
port_used() {
  (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# free_ports COUNT: the first of so many consecutive unused ports, below the kernel's ephemeral range.
free_ports() {
  local base i
  for _ in $(seq 1 200); do
    base=$((20000 + RANDOM % 12000))
    for ((i = 0; i < $1; i++)); do
      port_used $((base + i)) && continue 2
    done
    echo "$base"
    return
  done
  echo "no $1 consecutive unused ports found" >&2
  return 1
}

# wait_port PORT PID LOG
wait_port() {
  for _ in $(seq 1 300); do
    port_used "$1" && return 0
    kill -0 "$2" 2>/dev/null || { echo "server ended before it listened on $1; its log:" >&2; tail -20 "$3" >&2; return 1; }
    sleep 0.1
  done
  echo "port $1 did not open within 30 s" >&2
  return 1
}

# start_cluster DIR: mqnamesrv and mqbroker; sets namesrv_addr.
start_cluster() {
  local dir=$1 base
  make_tail_cache_dir
  base=$(free_ports 5)
  mkdir -p "$dir"
  printf 'listenPort=%d\nbindAddress=127.0.0.1\nkvConfigPath=%s/kvConfig.json\n' "$base" "$dir" >"$dir/namesrv.conf"
  # the VIP channel takes listenPort - 2, the HA port listenPort + 1
  printf '%s\n' "listenPort=$((base + 3))" bindAddress=127.0.0.1 brokerIP1=127.0.0.1 brokerIP2=127.0.0.1 \
    brokerClusterName=DefaultCluster brokerName=broker-a brokerId=0 "storePathRootDir=$dir/store" \
    mapedFileSizeCommitLog=67108864 autoCreateTopicEnable=true enablePropertyFilter=true "tailCachePath=$tail_cache_dir" >"$dir/broker.conf"
  "$bin_dir/mqnamesrv" -c "$dir/namesrv.conf" >"$dir/namesrv.log" 2>&1 &
  server_pids+=($!)
  wait_port "$base" $! "$dir/namesrv.log"
  "$bin_dir/mqbroker" -c "$dir/broker.conf" -n "127.0.0.1:$base" >"$dir/broker.log" 2>&1 &
  server_pids+=($!)
  wait_port $((base + 3)) $! "$dir/broker.log"
  namesrv_addr=127.0.0.1:$base
}

# start_standalone DIR: the one-command RingMQ; sets namesrv_addr.
start_standalone() {
  local dir=$1 base
  make_tail_cache_dir
  base=$(free_ports 5)
  mkdir -p "$dir"
  printf '%s\n' enablePropertyFilter=true "tailCachePath=$tail_cache_dir" >"$dir/ringmq.conf"
  "$bin_dir/ringmq" --data "$dir/data" --config "$dir/ringmq.conf" --namesrv-port "$base" --broker-port $((base + 3)) >"$dir/ringmq.log" 2>&1 &
  server_pids+=($!)
  wait_port "$base" $! "$dir/ringmq.log"
  wait_port $((base + 3)) $! "$dir/ringmq.log"
  namesrv_addr=127.0.0.1:$base
}

# stop_servers: SIGTERM in the reverse order of starting; one that does not end in 10 s is killed and reported.
stop_servers() {
  local i pid late=0
  for ((i = ${#server_pids[@]} - 1; i >= 0; i--)); do
    pid=${server_pids[i]}
    kill "$pid" 2>/dev/null || { echo "server $pid had ended by itself" >&2; late=1; continue; }
    for _ in $(seq 1 100); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
    if kill -0 "$pid" 2>/dev/null; then
      echo "server $pid did not stop within 10 s of SIGTERM" >&2
      kill -9 "$pid"
      late=1
    fi
    wait "$pid" 2>/dev/null || true
  done
  server_pids=()
  return $late
}
