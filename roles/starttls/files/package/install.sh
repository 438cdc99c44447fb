# Runs in the throwaway root: what was built becomes the package.
install -D -m 0755 starttls-smtpd "$DESTDIR/usr/lib/gatewright/starttls-smtpd"
# Alone in its folder, which stands before qmail's own in the PATH of deliveries.
install -D -m 0755 qmail-remote "$DESTDIR/usr/lib/gatewright/remote/qmail-remote"
