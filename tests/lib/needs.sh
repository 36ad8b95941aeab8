# Sourced by tests/run: makes sure of the tools that the suites need, from Debian's packages where we may install.

# need_package COMMAND PACKAGE: installs the package when the command is missing, or says what to install.
need_package() {
  command -v "$1" >/dev/null 2>&1 && return 0
  if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing $2, which gives $1"
    { apt-get install -y --no-install-recommends "$2" || { apt-get update && apt-get install -y --no-install-recommends "$2"; }; } \
      >>"$log_dir/install.log" 2>&1
    command -v "$1" >/dev/null 2>&1 && return 0
  fi
  echo "missing: $1; install the package $2 (see $log_dir/install.log)"
  return 1
}

need_file_systems() {
  need_package mkfs.ext4 e2fsprogs && need_package mkfs.xfs xfsprogs
}

need_java() {
  need_package javac default-jdk-headless && need_package mvn maven || return 1
  local major
  major=$(javac -version 2>&1 | sed 's/javac \([0-9]*\).*/\1/')
  [ "$major" -ge 17 ] || { echo "missing: JDK 17 or newer, found $major"; return 1; }
}

need_go() {
  need_package go golang-go || return 1
  local minor
  minor=$(go env GOVERSION | sed 's/go1\.\([0-9]*\).*/\1/')
  [ "$minor" -ge 19 ] || { echo "missing: Go 1.19 or newer, found $(go env GOVERSION)"; return 1; }
}
