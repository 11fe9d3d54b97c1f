"""Areas, tiles, shards and blocks: geometry and planning, without any pixels."""
