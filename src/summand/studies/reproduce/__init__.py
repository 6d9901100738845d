"""The tables and figures of the three papers, each as one call: as published, or their claims on scenes."""
