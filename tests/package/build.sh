#!/bin/sh
# Builds the Debian packages from the files that git knows, as they are now, and looks them over with lintian. They end up
# in build-package/. debian/ says how they are made.
#
#     build.sh
set -eu
cd "$(dirname "$0")/../.."

version=$(dpkg-parsechangelog -SVersion)
made_by=$(sed -n "s/^  version: '\(.*\)',/\1/p" meson.build)
case "$version" in
"$made_by"*) ;;
*) echo "build.sh: debian/changelog says $version, meson.build $made_by" >&2; exit 1 ;;
esac
rm -rf build-package
source=build-package/sett-$version
mkdir -p "$source"
git ls-files -z | tar --null --files-from=- -cf - | tar -xf - -C "$source"
(cd "$source" && DEB_BUILD_OPTIONS="parallel=$(nproc)" dpkg-buildpackage -b -us -uc) >build-package/log 2>&1 || {
	tail -40 build-package/log >&2
	echo "build.sh: the build failed: build-package/log" >&2
	exit 1
}
lintian --fail-on error,warning --display-info build-package/*.changes
rm -rf "$source"
ls build-package/*.deb
