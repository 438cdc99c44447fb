"""Who may connect and relay: /etc/tcp.smtp."""
