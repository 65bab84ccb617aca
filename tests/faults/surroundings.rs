//! What is around the services fails, and clients behave badly.
