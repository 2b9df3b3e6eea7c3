#!/usr/bin/python3
"""docs/errors.md says what every error means that a client may get: each text in the sources that begins with an error's code has some
phrase of the tables' first columns, each phrase there is of some text, and each code that is answered is one of the page's.

    test_errors.py SOURCE-ROOT"""
import re
import sys
from source_texts import LITERALS, joined, lacking, phrases, says_something, sources

PLACES = "/src/**/*.c", "/src/**/*.h"
# Calls that answer with an error.
ANSWERS = r"\b(?:context_errorf?|resp_error\w*|admission_refuse)\(\s*[\w>.&-]+,\s*(" + LITERALS + ")"


def main():
    root = sys.argv[1]
    with open(root + "/docs/errors.md") as file:
        page = file.read()
    tables = page.split("## ")
    codes = list(phrases(next(table for table in tables if table.startswith("Codes\n"))))
    known = [phrase for table in tables if not table.startswith("Codes\n") for phrase in phrases(table)]
    begins = re.compile(r"-?(%s) (.*)" % "|".join(codes), re.S)
    found, wrong, texts = [], [], ""
    for path, source in sources(root, *PLACES):
        for literal in re.findall(LITERALS, source):
            texts += joined(literal) + "\n"
            text = begins.match(joined(literal))
            if text and says_something(text[2]):
                found.append((path, text[2]))
        for literal in re.findall(ANSWERS, source):
            text = joined(literal)
            if not begins.match(text) and re.match("-?[A-Z]+ ", text):
                wrong.append("docs/errors.md has no such code: %s: %s" % (path, text))
    if len(found) < 250 or len(known) < 120:
        sys.exit("FAILED: %d errors in the sources, %d phrases in the page" % (len(found), len(known)))
    # Of use only if it sees one that is taken out.
    if not lacking(found, [phrase for phrase in known if phrase != "Errors writing to the log:"]):
        sys.exit("FAILED: a missing error is not seen")
    wrong += ["docs/errors.md lacks " + text for text in lacking(found, known)]
    wrong += ["docs/errors.md names what nothing answers: " + phrase for phrase in known if phrase not in texts]
    wrong += ["docs/errors.md names a code of nothing: " + code for code in codes if not re.search("^-?%s " % code, texts, re.M)]
    if wrong:
        sys.exit("FAILED: " + "\n".join(wrong))


main()
