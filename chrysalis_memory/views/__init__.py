"""A store as a view of it shows it: everything that is read or written passes one visibility."""
