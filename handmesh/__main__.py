"""``python -m handmesh`` is the ``handmesh`` command."""

from handmesh.cli.main import main

if __name__ == "__main__":
    main()
