"""Who a message is from: SPF, DKIM, ARC and DMARC."""
