"""Remove what interrupted commands have left in corelm's home."""
