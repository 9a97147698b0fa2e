"""Write texts, explain one token, and measure the speed of both."""
