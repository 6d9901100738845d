"""The explorer: one's own picture taken apart live. question, known, off, places, moved and nearest are the numbers,
views and pictures what is shown of them; app alone knows gradio."""
