"""What machines and accelerators are and do: discovery, collection, metrics, export."""
