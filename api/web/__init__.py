"""The staff page: server-rendered, live by fragments, usable without JavaScript."""
