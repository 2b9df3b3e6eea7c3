#!/usr/bin/python3
"""Whether what scripts of the project import from one another is there: tests/script_imports.py FILE...

Says what is not, a line each, and exits with 1. Nothing is run.
"""
import ast
import os
import sys


def names_of(path):
    """What other files may import from this one."""
    with open(path) as file:
        tree = ast.parse(file.read(), path)
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.alias):
            names.add(node.asname or node.name)
    return names, [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]


def main():
    scripts, lacking = {}, 0
    for path in sys.argv[1:]:
        scripts.setdefault(os.path.basename(path)[:-3], []).append((path, *names_of(path)))
    for path, _, imports in (script for alike in scripts.values() for script in alike):
        for node in imports:
            homes = scripts.get(node.module, [])
            for alias in node.names:
                if homes and not any(alias.name in names for _, names, _ in homes):
                    print("%s:%d: there is no %s in %s.py" % (path, node.lineno, alias.name, node.module))
                    lacking += 1
    sys.exit(lacking > 0)


main()
