"""What people read: tables, pictures, curves, and the finished runs that they compare."""
