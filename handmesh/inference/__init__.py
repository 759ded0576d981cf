"""From pictures to hands: what runs behind the network."""
