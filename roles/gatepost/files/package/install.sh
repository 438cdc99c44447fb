# Runs in the throwaway root: what was built becomes the package.
# Alone in its folder, which stands before qmail's own in the PATH of deliveries.
install -D -m 0755 gatepost-remote "$DESTDIR/usr/lib/gatepost/remote/qmail-remote"
install -D -m 0755 package/gatepost "$DESTDIR/usr/bin/gatepost"
# the services' own ways in: AppArmor knows a program by its path
install -D -m 0755 package/gatepost "$DESTDIR/usr/lib/gatepost/gatepost"
install -D -m 0755 package/gatepost "$DESTDIR/usr/lib/gatepost/gatepost-signer"
mkdir -p "$DESTDIR/usr/lib/python3/dist-packages"
cp -r gatepost "$DESTDIR/usr/lib/python3/dist-packages/gatepost"
