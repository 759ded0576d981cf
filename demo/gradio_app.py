"""The hand mesh page: python demo/gradio_app.py [--port 7860], then open the address it prints.

Upload a photo or use the browser's camera; see the overlay and the mesh; download GLB and JSON.
"""

from handmesh.cli.web_app import main
from handmesh.errors import run_command

if __name__ == "__main__":
    run_command(main)
