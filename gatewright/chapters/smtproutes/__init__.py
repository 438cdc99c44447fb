"""Where mail goes: smtproutes, rcpthosts and what goes with them."""
