"""What an agent may know of the page it talks to, and show there. For authors of agents; public through `gateway`."""
