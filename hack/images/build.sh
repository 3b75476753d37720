#!/bin/sh
# Builds one image with Buildah and pushes it into the cache's registry storage. hack/images/build.py runs it in mount
# and process namespaces of its own, so that nothing outlives it.
#
# A registry on a loopback of its own takes the image: Buildah then recognises the layers that are there already, by
# their uncompressed content, and sends only new ones. Other transports would compress all of them every time.
#
# build.sh NAME [OPTION OF BUILDAH]...   (no CONTAINERFILE in the environment: the image is the tree $TREE)
set -eu
name=$1
shift

mkdir -p "$HOME_OF_IMAGES/run" "$HOME_OF_IMAGES/known-blobs" "$HOME_OF_IMAGES/registry" /var/lib/containers/cache
# Buildah's notes about what is mounted must not outlive the mounts.
mount -t tmpfs tmpfs "$HOME_OF_IMAGES/run"
mount --bind "$HOME_OF_IMAGES/known-blobs" /var/lib/containers/cache
buildah rm --all >/dev/null

if [ -n "${CONTAINERFILE:-}" ]; then
	buildah build --layers --pull-never --isolation chroot --tag "$IMAGE" --file "$CONTAINERFILE" "$@" "$CONTEXT"
else
	container=$(buildah from --name base-of-all scratch)
	root=$(buildah mount "$container")
	cp --archive "$TREE/." "$root/"
	buildah umount "$container" >/dev/null
	path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
	buildah config --cmd /bin/bash --env PATH=$path "$container"
	buildah commit --rm "$container" "$IMAGE"
fi

cat >"$HOME_OF_IMAGES/run/registry.yml" <<END
version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: /srv}}
http: {addr: "127.0.0.1:5000"}
END
mount --bind "$HOME_OF_IMAGES/registry" "$MACHINE_TREE/srv"
mount --bind "$HOME_OF_IMAGES/run" "$MACHINE_TREE/mnt"
export name
exec unshare --net sh -euc '
	ip link set lo up
	chroot "$MACHINE_TREE" docker-registry serve /mnt/registry.yml &
	tries=100
	while skopeo list-tags --tls-verify=false docker://127.0.0.1:5000/any 2>&1 | grep -q "connection refused"; do
		tries=$((tries - 1))
		[ "$tries" -gt 0 ] || { echo "the registry of the cache does not start" >&2; exit 1; }
		sleep 0.05
	done
	buildah push --tls-verify=false --digestfile "$DIGEST" "$IMAGE" "docker://127.0.0.1:5000/$name"
'
