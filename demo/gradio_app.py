"""The hand mesh page: python demo/gradio_app.py [--port 7860], then open the address it prints.

Upload a photo or use the browser's camera; see the overlay and the mesh; download GLB and JSON.
"""

from handmesh.errors import run_door
from handmesh.web_app import main

if __name__ == "__main__":
    run_door(main)
