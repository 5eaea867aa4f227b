"""The Auto Scaling group and its instances as a pure machine: frozen values in, frozen values out."""
