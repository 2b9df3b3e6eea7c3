#!/bin/sh
# Builds the Debian packages and looks them over with lintian. debian/ says how they are made. They end up in build-package/, made from
# the files that git knows, as they are now; with a commit in build-package-older/, made from the files of that commit, under a number
# that is lower than today's. Those are built once, and quickly: what they write matters, not how fast.
#
#     build.sh [COMMIT]
set -eu
cd "$(dirname "$0")/../.."

commit=${1:-}
folder=build-package
[ -z "$commit" ] || folder=build-package-older
if [ -n "$commit" ] && [ "$(cat "$folder/commit" 2>/dev/null)" = "$commit" ]; then
	ls "$folder"/*.deb
	exit
fi
rm -rf "$folder"
source=$folder/source
mkdir -p "$source"
if [ -n "$commit" ]; then
	git archive --output="$folder/source.tar" "$commit"
	tar -xf "$folder/source.tar" -C "$source"
	sed -i "1s/(\(.*\))/(\1~$commit)/" "$source/debian/changelog"
	sed -i -e 's/ optimize=+lto//' -e 's/-O3/-O1/' "$source/debian/rules"
else
	# First of all a list: of a pipe's first command nobody sees that it has failed, as git does in a clone of another user's.
	git ls-files -z >"$folder/files"
	tar --null --files-from="$folder/files" -cf - | tar -xf - -C "$source"
fi
version=$(dpkg-parsechangelog -l"$source/debian/changelog" -SVersion)
made_by=$(sed -n "s/^  version: '\(.*\)',/\1/p" "$source/meson.build")
case "$version" in
"$made_by"*) ;;
*) echo "build.sh: debian/changelog says $version, meson.build $made_by" >&2; exit 1 ;;
esac
(cd "$source" && DEB_BUILD_OPTIONS="parallel=$(nproc)" dpkg-buildpackage -b -us -uc) >"$folder/log" 2>&1 || {
	tail -40 "$folder/log" >&2
	echo "build.sh: the build failed: $folder/log" >&2
	exit 1
}
[ -n "$commit" ] || lintian --fail-on error,warning --display-info "$folder"/*.changes
rm -rf "$source"
[ -z "$commit" ] || echo "$commit" >"$folder/commit"
ls "$folder"/*.deb
