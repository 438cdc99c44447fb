# Runs in the throwaway root: what was built becomes the package.
install -D -m 0755 package/gatekeeper "$DESTDIR/usr/bin/gatekeeper"
# the service's own way in: AppArmor knows a program by its path
install -D -m 0755 package/gatekeeper "$DESTDIR/usr/lib/gatekeeper/gatekeeper"
# fetches recipients from directories, as a user of its own
install -D -m 0755 package/gatekeeper-ldap "$DESTDIR/usr/lib/gatekeeper/gatekeeper-ldap"
mkdir -p "$DESTDIR/usr/lib/python3/dist-packages"
cp -r gatekeeper "$DESTDIR/usr/lib/python3/dist-packages/gatekeeper"
