# Runs in the throwaway root: what was built becomes the package.
# Not readable for who runs it: see the head of its source.
install -D -m 0711 starttls-smtpd "$DESTDIR/usr/lib/gatewright/starttls-smtpd"
