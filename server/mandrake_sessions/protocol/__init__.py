"""The contract on the wire: the table of methods, their types, their errors, and what is generated from them."""
