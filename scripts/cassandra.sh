#!/usr/bin/env bash
# A Cassandra of one node on 127.0.0.1, for tests and for trying things out. Debian has no package of it, Maven Central has its jars.
#
#   cassandra.sh install               jars into .tools/cassandra: versions of cassandra/pom.xml, sums of cassandra/jars.sha256
#   cassandra.sh check                 whether that has been done (exit status)
#   cassandra.sh lock                  writes cassandra/jars.sha256 anew, after a change of cassandra/pom.xml
#   cassandra.sh run DIR PORT [PEM [ADDRESS]]
#                                      in the foreground, data below DIR; CQL on PORT (of 127.0.0.1, or of ADDRESS, then
#                                      with TLS only), nodes among each other on PORT + 1 of 127.0.0.1
#   cassandra.sh start DIR PORT [PEM]  in the background, until it takes CQL; DIR/pid, DIR/log
#   cassandra.sh stop DIR              ends that one
#
# Users log in (cassandra/cassandra). PEM: a certificate with its PKCS#8 key; connections may then use TLS.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
jars=$(readlink -m "$here/../.tools/cassandra")
case $(uname -m) in aarch64) arch=arm64 ;; *) arch=amd64 ;; esac
java=/usr/lib/jvm/java-17-openjdk-$arch/bin/java
plugin=org.apache.maven.plugins:maven-dependency-plugin:3.8.1
stamp=$jars/weft-$(cat "$here/cassandra/pom.xml" "$here/cassandra/jars.sha256" | sha256sum | cut -c1-16)

# All jars, into $jars.new.
fetch() {
  rm -rf "$jars.new"
  mvn -B -q -f "$here/cassandra/pom.xml" "$plugin:copy-dependencies" -DincludeScope=runtime "-DoutputDirectory=$jars.new"
}

lock() {
  fetch
  (cd "$jars.new" && sha256sum -- *.jar | LC_ALL=C sort -k2) > "$here/cassandra/jars.sha256"
  rm -rf "$jars.new"
}

install() {
  [[ ! -e $stamp ]] || return 0
  fetch
  (cd "$jars.new" && sha256sum --quiet --strict -c "$here/cassandra/jars.sha256")
  local found wanted
  found=$(find "$jars.new" -name '*.jar' | wc -l)
  wanted=$(wc -l < "$here/cassandra/jars.sha256")
  if (( found != wanted )); then
    echo "cassandra: WEFT_DEPS_MISSING: Maven brought $found jars, cassandra/jars.sha256 names $wanted" >&2
    exit 1
  fi
  rm -rf "$jars"
  mv "$jars.new" "$jars"
  touch "$stamp"
}

# What conf/jvm17-server.options of Cassandra's release opens.
options=(
  -Djdk.attach.allowAttachSelf=true
  --add-exports=java.base/{jdk.internal.misc,jdk.internal.ref,sun.nio.ch,java.lang.ref}=ALL-UNNAMED
  --add-exports=java.management.rmi/com.sun.jmx.remote.internal.rmi=ALL-UNNAMED
  --add-exports=java.rmi/{sun.rmi.registry,sun.rmi.server,sun.rmi.transport.tcp}=ALL-UNNAMED
  --add-exports=java.sql/java.sql=ALL-UNNAMED
  --add-exports=jdk.unsupported/sun.misc=ALL-UNNAMED
  --add-opens=java.base/{java.io,java.lang,java.lang.module,java.lang.reflect,java.math,java.net,java.nio,java.nio.charset}=ALL-UNNAMED
  --add-opens=java.base/{java.util,java.util.concurrent,java.util.concurrent.atomic,sun.nio.ch}=ALL-UNNAMED
  --add-opens=java.base/jdk.internal.{loader,ref,reflect,math,module,util.jar}=ALL-UNNAMED
  --add-opens=jdk.management/com.sun.management.internal=ALL-UNNAMED
  --add-opens=jdk.management.jfr/jdk.management.jfr=ALL-UNNAMED
)
# One node that is its own ring has nobody to wait for; small memory; no compiler that only pays off after minutes.
options+=(
  -Xms192m -Xmx512m -Xss256k -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData -XX:+ExitOnOutOfMemoryError
  -Dcassandra.ring_delay_ms=1 -Dcassandra.skip_wait_for_gossip_to_settle=0
  -Dcassandra.superuser_setup_delay_ms=0 -Dcassandra.auth_bcrypt_gensalt_log2_rounds=4
)

run() {
  local dir port=$2 pem=${3:-} address=${4:-127.0.0.1} optional=true
  [[ $address == 127.0.0.1 ]] || optional=false
  mkdir -p "$1/tmp"
  dir=$(readlink -f "$1")
  if [[ ! -e $stamp || ! -x $java ]]; then
    echo 'cassandra: WEFT_DEPS_MISSING: Cassandra is not installed; run: scripts/deps.sh' >&2
    exit 2
  fi
  cat > "$dir/cassandra.yaml" << EOF
cluster_name: weft
num_tokens: 1
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
endpoint_snitch: SimpleSnitch
seed_provider:
  - class_name: org.apache.cassandra.locator.SimpleSeedProvider
    parameters: [{ seeds: "127.0.0.1:$((port + 1))" }]
listen_address: 127.0.0.1
storage_port: $((port + 1))
rpc_address: $address
native_transport_port: $port
authenticator: PasswordAuthenticator
data_file_directories: ["$dir/data"]
commitlog_directory: "$dir/commitlog"
hints_directory: "$dir/hints"
saved_caches_directory: "$dir/saved_caches"
cdc_raw_directory: "$dir/cdc_raw"
commitlog_sync: periodic
commitlog_sync_period: 1s
commitlog_segment_size: 8MiB
commitlog_total_space: 64MiB
memtable_heap_space: 64MiB
auto_snapshot: false
EOF
  if [[ -n $pem ]]; then
    cat >> "$dir/cassandra.yaml" << EOF
client_encryption_options:
  enabled: true
  optional: $optional
  ssl_context_factory: { class_name: org.apache.cassandra.security.PEMBasedSslContextFactory }
  keystore: "$(readlink -f "$pem")"
EOF
  fi
  exec "$java" "${options[@]}" "-javaagent:$(echo "$jars"/jamm-*.jar)" "-Djava.io.tmpdir=$dir/tmp" "-Djna.tmpdir=$dir/tmp" \
    "-Dcassandra.config=file://$dir/cassandra.yaml" "-Dcassandra.storagedir=$dir" "-Dlogback.configurationFile=$here/cassandra/logback.xml" \
    -Dcassandra-foreground=yes -cp "$jars/*" org.apache.cassandra.service.CassandraDaemon
}

start() {
  mkdir -p "$1"
  : > "$1/log"
  "$0" run "$@" > "$1/log" 2>&1 < /dev/null &
  local pid=$!
  echo "$pid" > "$1/pid"
  until grep -q 'Starting listening for CQL clients' "$1/log"; do
    if ! kill -0 "$pid" 2> /dev/null; then
      tail "$1/log" >&2
      exit 1
    fi
    sleep 0.2
  done
}

stop() {
  local pid
  pid=$(cat "$1/pid")
  kill "$pid"
  while kill -0 "$pid" 2> /dev/null; do sleep 0.1; done
  rm "$1/pid"
}

case ${1:-} in
  install | lock) "$1" ;;
  check) [[ -e $stamp ]] ;;
  run | start) [[ $# -ge 3 ]] && "$@" ;;
  stop) [[ $# -eq 2 ]] && "$@" ;;
  *) sed -n '2,13s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
