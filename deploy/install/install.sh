#!/bin/sh
# Install the inspection line from this wheelhouse, without a network. Nothing is fetched, ever.
#
#   sudo ./install.sh
#   ./install.sh --prefix ~/inspection --config ~/inspection/etc --state ~/inspection/state --units none
#
# Exit codes: 0 done, 1 fault, 2 usage or a Python that does not fit, 3 refused (a file was changed).
set -eu
umask 022

usage() {
    cat <<END
usage: install.sh [--prefix DIR] [--config DIR] [--state DIR] [--units DIR|none] [--user NAME|none]
                  [--python PYTHON]

  --prefix   where the program goes         [/opt/inspection]
  --config   where line.toml goes           [/etc/inspection]
  --state    ledger, evidence and cache     [/var/lib/inspection]
  --units    systemd units, or none         [/etc/systemd/system]
  --user     who runs the line; made if need be; none: as whoever starts it  [inspection]
  --python   the Python to install for      [python3]
END
}

fail() { # code, words
    echo "install.sh: $2" >&2
    exit "$1"
}

prefix=/opt/inspection config=/etc/inspection state=/var/lib/inspection
units=/etc/systemd/system user=inspection python=python3
while [ $# -gt 0 ]; do
    case $1 in
    -h | --help) usage && exit 0 ;;
    --prefix | --config | --state | --units | --user | --python) [ $# -gt 1 ] || fail 2 "$1 needs a value." ;;
    *) usage >&2 && fail 2 "$1 is not known here." ;;
    esac
    case $1 in
    --prefix) prefix=$2 ;;
    --config) config=$2 ;;
    --state) state=$2 ;;
    --units) units=$2 ;;
    --user) user=$2 ;;
    --python) python=$2 ;;
    esac
    shift 2
done

check_places() {
    for place in "$prefix" "$config" "$state" "$units"; do
        case $place in
        none) ;;
        *[!A-Za-z0-9/._-]*) fail 2 "$place: a unit file needs a path of letters, digits and . _ - only." ;;
        /*) ;;
        *) fail 2 "$place is not an absolute path; give one." ;;
        esac
    done
    case $user in *[!a-z0-9_-]*) fail 2 "$user is not a user name of lower-case letters, digits, _ and -." ;; esac
}

check_wheelhouse() {
    here=$(cd "$(dirname "$0")" && pwd)
    cd "$here"
    [ -f SHA256SUMS ] || fail 2 "$here has no SHA256SUMS; carry the whole wheelhouse here."
    sha256sum --check --strict --quiet SHA256SUMS >&2 ||
        fail 3 "the wheelhouse is not what was made (see above); carry it here again."
    listed=$(sed 's/^[0-9a-f]*  //' SHA256SUMS | LC_ALL=C sort)
    found=$(find . -type f ! -path ./SHA256SUMS | sed 's,^\./,,' | LC_ALL=C sort)
    [ "$listed" = "$found" ] || fail 3 "the wheelhouse holds files that SHA256SUMS does not list; carry it here again."
    id=$(sha256sum SHA256SUMS | cut -c 1-12)
}

check_python() {
    made_for=$(cat TARGET)
    is=$("$python" -c 'import platform, sys, venv, ensurepip
print("cp%d%d %s %s" % (*sys.version_info[:2], platform.system().lower(), platform.machine()))') ||
        fail 2 "$python cannot make environments; install Python with its venv and ensurepip modules."
    [ "$is" = "$made_for" ] ||
        fail 2 "this wheelhouse is for $made_for and $python is $is; make one on such a machine, or give --python."
}

# A version of its own beside the one that runs; `current` turns to it only once it is whole.
install_program() {
    new=$prefix/versions/$id
    if [ ! -f "$new/whole" ]; then
        rm -rf "$new"
        mkdir -p "$prefix/versions"
        "$python" -m venv "$new" || fail 1 "$new could not be made."
        "$new/bin/python" -m pip --isolated install --quiet --disable-pip-version-check --no-cache-dir \
            --no-index --find-links wheels --only-binary :all: --require-hashes -r requirements.txt ||
            fail 1 "pip could not install from the wheelhouse (see above)."
        "$new/bin/inspector" --version >/dev/null || fail 1 "what was installed does not start."
        touch "$new/whole"
    fi
    ln -sfn "versions/$id" "$prefix/.current"
    mv -fT "$prefix/.current" "$prefix/current"
}

make_user() {
    [ "$user" = none ] && return
    if [ "$(id -u)" -ne 0 ]; then
        [ "$user" = "$(id -un)" ] || fail 2 "only root can install for the user $user; use sudo, or --user none."
        return
    fi
    id "$user" >/dev/null 2>&1 ||
        useradd --system --home-dir "$state" --shell /usr/sbin/nologin "$user" ||
        fail 1 "the user $user could not be made."
}

# What is there stays: the config, the ledger and the evidence belong to the line, not to a version.
make_places() {
    mkdir -p "$config" "$state/cache"
    [ -f "$config/line.toml" ] || "$prefix/current/bin/inspector" init "$config/line.toml" >/dev/null
    if [ "$user" != none ] && [ "$(id -u)" -eq 0 ]; then
        chown "$user:" "$state" "$state/cache"
    fi
}

write_unit() {
    [ "$units" = none ] && return
    mkdir -p "$units"
    runs_as=$user
    [ "$user" = none ] && runs_as=$(id -un)
    sed -e "s,@PREFIX@,$prefix,g" -e "s,@CONFIG@,$config,g" -e "s,@STATE@,$state,g" -e "s,@USER@,$runs_as,g" \
        inspection.service >"$units/.inspection.service"
    mv -f "$units/.inspection.service" "$units/inspection.service"
    if [ -d /run/systemd/system ] && [ "$(id -u)" -eq 0 ]; then
        systemctl daemon-reload
    fi
}

check_places
check_wheelhouse
check_python
make_user
install_program
make_places
write_unit
echo "$prefix/current/bin/inspector"
cat >&2 <<END
Installed $("$prefix/current/bin/inspector" --version) as version $id.
Now name camera and model in $config/line.toml, then:
  $prefix/current/bin/inspector doctor --config $config/line.toml --camera config
END
[ "$units" = none ] || echo "  systemctl enable --now inspection" >&2
