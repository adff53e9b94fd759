"""What pages are made of, where it is more than a widget: shared by several pages, or a card with callbacks of its own."""
