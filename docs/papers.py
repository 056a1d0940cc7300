"""Addresses of the sources that docstrings name by their titles. A title without one stays text."""

import re

ARXIV = {
    "A Novel Focal Tversky Loss Function": "1810.07842",
    "Asymmetric Loss for Multi-Label Classification": "2009.14119",
    "Class-Balanced Loss Based on Effective Number of Samples": "1901.05555",
    "Confident Learning": "1911.00068",
    "Fast R-CNN": "1504.08083",
    "Focal Loss for Dense Object Detection": "1708.02002",
    "Generalized Cross Entropy Loss for Training Deep Neural Networks with Noisy Labels": "1805.07836",
    "PaLM: Scaling Language Modeling with Pathways": "2204.02311",
    "PolyLoss: A Polynomial Expansion Perspective of Classification Loss Functions": "2204.12511",
    "Rethinking the Inception Architecture for Computer Vision": "1512.00567",
    "The Lovasz Hinge: A Novel Convex Surrogate for Submodular Losses": "1512.07797",
    "The Lovasz-Softmax Loss": "1705.08790",
    "Tversky Loss Function for Image Segmentation Using 3D Fully Convolutional Deep Networks": "1706.05721",
    "V-Net: Fully Convolutional Neural Networks for Volumetric Medical Image Segmentation": "1606.04797",
}
DOI = {
    "A Mathematical Theory of Communication": "10.1002/j.1538-7305.1948.tb01338.x",
    "Divergence Measures Based on the Shannon Entropy": "10.1109/18.61115",
    "Estimating the Mean and Variance of the Target Probability Distribution": "10.1109/ICNN.1994.374138",
    "Logistic Regression in Rare Events Data": "10.1093/oxfordjournals.pan.a004868",
    "On Information and Sufficiency": "10.1214/aoms/1177729694",
    "Robust Estimation of a Location Parameter": "10.1214/aoms/1177703732",
    "The Elements of Statistical Learning": "10.1007/978-0-387-84858-7",
    "Verification of Forecasts Expressed in Terms of Probability": (
        "10.1175/1520-0493(1950)078%3C0001:VOFEIT%3E2.0.CO;2"
    ),
}
ADDRESSES = {title: f"https://arxiv.org/abs/{number}" for title, number in ARXIV.items()}
ADDRESSES |= {title: f"https://doi.org/{number}" for title, number in DOI.items()}


def with_links(source: str) -> str:
    """A source with its title as a link: by the table, or by the arXiv number that stands beside it."""
    number = re.search(r"arXiv (\d{4}\.\d{5})", source)

    def link(match: re.Match[str]) -> str:
        address = ADDRESSES.get(match[1]) or (number and f"https://arxiv.org/abs/{number[1]}")
        return f"`{match[1]} <{address}>`__" if address else match[0]

    return re.sub(r'"([^"]+)"', link, source)
