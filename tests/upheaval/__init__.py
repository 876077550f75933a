"""A small world in which everything goes wrong: store, bus, connections and readers, for test_invariant."""
