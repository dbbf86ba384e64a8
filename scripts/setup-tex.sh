#!/usr/bin/env bash
# The part of TeX Live that the papers need. Without it a run ends with notes and .tex files only.
set -euo pipefail
. "$(dirname "$0")/apt.sh"

has_tex() {
    have pdflatex bibtex latexmk chktex kpsewhich pdftoppm pdftotext || return 1
    local files=(booktabs.sty cleveref.sty lmodern.sty microtype.sty multirow.sty natbib.sty t1cmr.fd sfrm1000.pfb)
    [ "$(kpsewhich "${files[@]}" | wc -l)" -eq "${#files[@]}" ]
}

has_tex || install_packages "TeX for the papers (570 MB)" "two to four minutes" \
    texlive-latex-base latexmk texlive-latex-recommended texlive-fonts-recommended \
    texlive-latex-extra chktex lmodern cm-super poppler-utils
