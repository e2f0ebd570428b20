#!/usr/bin/env bash
# Install chromium and its driver, which the tests of the HTML report look at the page with.
# Where that is not possible it says so and succeeds: those tests are then skipped.
set -euo pipefail

installed() { command -v chromium >/dev/null 2>&1 && command -v chromedriver >/dev/null 2>&1; }

installed && exit 0
if [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null 2>&1; then
    echo "installing chromium (about 400 MB; only this once)" >&2
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq >&2 &&
        apt-get install -qq -y --no-install-recommends chromium chromium-driver >&2 || true
fi
installed || echo "note: expected chromium and chromedriver, found none that could be installed" \
    "(needs Debian's apt-get and root); the browser tests of the HTML report are skipped" >&2
