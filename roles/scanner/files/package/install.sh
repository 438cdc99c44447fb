# Runs in the throwaway root: what was built becomes the package.
install -D -m 0755 gatescan-queue "$DESTDIR/usr/lib/gatescan/gatescan-queue"
install -D -m 0755 package/gatescan "$DESTDIR/usr/bin/gatescan"
# the services' own way in: AppArmor knows a program by its path
install -D -m 0755 package/gatescan "$DESTDIR/usr/lib/gatescan/gatescan"
mkdir -p "$DESTDIR/usr/lib/python3/dist-packages"
cp -r gatescan "$DESTDIR/usr/lib/python3/dist-packages/gatescan"
