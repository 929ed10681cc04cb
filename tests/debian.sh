# Installs Debian packages that a script of this folder needs: source it, it runs nothing by itself.
#
# The caller has a function `fail` that ends it with a sentence. Services that a package brings are its business.

readonly DEBIAN_SECONDS_MAX=300

# install_debian NAME PACKAGE…  as root, for the script NAME; says what is missing where that is not possible.
install_debian() {
  local name="$1"
  shift
  if (($# == 0)); then
    return
  fi
  if ! command -v apt-get >/dev/null || ((EUID != 0)); then
    fail "missing: $*; install them, or run this as root on Debian"
  fi
  echo "$name: installing $*"
  export DEBIAN_FRONTEND=noninteractive
  timeout "$DEBIAN_SECONDS_MAX" apt-get update -qq
  timeout "$DEBIAN_SECONDS_MAX" apt-get install -qq -y --no-install-recommends "$@" >/dev/null
}
