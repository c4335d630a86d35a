#!/usr/bin/env bash
# Install what the page's build and tests need and what is missing: Chromium, Node and npm, from Debian's packages.
set -eu
missing=()
command -v chromium > /dev/null || command -v chromium-browser > /dev/null || command -v google-chrome > /dev/null || missing+=(chromium)
command -v node > /dev/null || missing+=(nodejs)
command -v npm > /dev/null || missing+=(npm)
[ "${#missing[@]}" -gt 0 ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get > /dev/null; then
	echo "Not installed, as this is not Debian or not root: ${missing[*]}. The tests that need them are skipped."
	exit 0
fi
echo "Installing ${missing[*]} …"
apt-get -qq update
DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends -y "${missing[@]}" > /dev/null
