#!/bin/sh
# Installs what the tests need besides Python packages. What cannot be had here is said, and its tests are skipped;
# with CI=true the missing thing is a failure.
set -eu
cd "$(dirname "$0")/.."

missing() {
    echo "not available: $1"
    if [ "${CI:-}" = "true" ]; then exit 1; fi
}

# Debian packages, where that is possible without asking anybody.
debian() {
    if [ -f /etc/debian_version ] && [ "$(id -u)" = 0 ]; then
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
    else
        return 1
    fi
}

command -v curl >/dev/null || debian curl || missing "curl (the commands of examples/curl.md are not tested)"
command -v redis-server >/dev/null || debian redis-server || missing "redis-server (limits on Redis are not tested)"
command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || debian postgresql ||
    missing "PostgreSQL (threads in it are not tested)"
command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null ||
    debian chromium || missing "Chromium (pages are not looked at in a browser)"
command -v npm >/dev/null || debian nodejs npm || missing "Node.js with npm (the real npm clients are not tested)"

# The npm packages of a folder, unless they are there already.
packages() {
    lock=$1/package-lock.json
    stamp=$1/node_modules/.installed-from
    if ! cmp -s "$lock" "$stamp"; then
        npm ci --prefix "$1" --no-audit --no-fund --loglevel=error && cp "$lock" "$stamp" ||
            missing "the npm packages of $1"
    fi
}

if command -v npm >/dev/null; then
    packages tests/clients
    packages tests/node-runtime
    packages examples/copilotkit-react
fi
